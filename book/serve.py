"""Show a page of the built book: `python book/serve.py try.html`.

It comes from a small web server, which only this machine can reach: a page that is opened from a
disk may not run Python.
"""

import argparse
import functools
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from build import OUTPUT


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the built book to this machine alone.")
    parser.add_argument("page", nargs="?", default="index.html", help="the page to open")
    page = parser.parse_args().page
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(OUTPUT / "html"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        address = f"http://127.0.0.1:{server.server_port}/{page}"
        print(f"{address}   (end with Ctrl+C)")
        webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
