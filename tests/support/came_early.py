"""What of a body came together with the headers, for tests of what reads the rest."""


class Buffered:
    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def take(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self.data))
        buffer[:count] = self.data[:count]
        self.data = self.data[count:]
        return count
