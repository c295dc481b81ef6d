"""What a browser makes of a page of HTML, for the tests of the report."""

import html.parser
import re


class Page(html.parser.HTMLParser):
    """What a browser would fetch or run, and what it would show instead of pictures."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.links, self.alts, self.handlers, self.tags = [], [], [], [], []
        self.feed(text)
        styles = re.findall(r"(?:@import\s+|url\()[\"']?([^\"')\s]+)", text)
        self.fetched += [address for address in styles if not address.startswith(("data:", "#"))]

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.handlers += [name for name in values if name.startswith("on")]
        if tag == "a":
            self.links.append(values.get("href"))
        elif tag == "img":
            self.alts.append(values.get("alt"))
        for name in ("src", "srcset", "data", "poster") + (("href",) if tag in ("link", "use", "image") else ()):
            address = values.get(name) or ""
            if address and not address.startswith("data:") and not (name == "data" and tag != "object"):
                self.fetched.append(address)
