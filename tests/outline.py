"""Read a page back: its elements, and the sounds in them."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import soundfile

SR = 16_000
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Outline(HTMLParser):
    """Every element with its attributes and text; fails on a tag that is not closed in order."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.open = [], []
        self.feed(page)
        self.close()
        assert self.open == [], f"never closed: {[element['tag'] for element in self.open]}"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):  # <path .../>
        self.elements.append({"tag": tag, "text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1]["tag"] == tag, f"</{tag}> inside <{self.open[-1]['tag']}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, css=None):
        return [
            element
            for element in self.elements
            if element["tag"] == tag and (css is None or css in element.get("class", "").split())
        ]


def decoded(element):
    """The samples and rate inside an <audio> element."""
    kind, data = element["src"].split(";base64,")
    assert kind == "data:audio/flac"
    samples, sr = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float64")
    return samples.T, sr


def noise(seconds, level, seed, channels=()):
    return level * np.random.default_rng(seed).standard_normal((*channels, round(seconds * SR)))
