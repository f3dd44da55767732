"""Telling a broker, over MQTT. Only this room imports paho."""
