"""Telling about it over MQTT. Only this room imports paho."""
