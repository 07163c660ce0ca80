"""What an HTML page holds."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page refers to, its anchors, and any script or style in line."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.inline, self.open = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]
        if tag == "style" or (tag == "script" and "src" not in attributes) or {"style", "onclick"} & set(attributes):
            self.inline.append(tag)
