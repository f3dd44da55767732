"""An emulated bad link: two programs in two network namespaces, and what lies between them.

The device is 10.9.0.1 and the server 10.9.0.2; "up" is device to server. Sizes are of IP packets,
times on the link count from the moment the device's command starts. The same seed gives the n-th
packet of a direction the same fate and each moment the same rate, delay and outage.

`profiles` names the links, `schedule` draws what varies on them, `emulator` runs the forwarding process
(`forward.c`) and the commands, `run` puts one run together; `python -m benchmarks.linkem` is for hand
use. Needs Linux, root, /dev/net/tun and a C compiler; nothing else. The namespaces have no names: they
end with their last process, and no interface, route or rule outside them is touched.
"""

DEVICE_IP, SERVER_IP = "10.9.0.1", "10.9.0.2"
