"""What a person looks at while faces are followed: the preview's picture and the web view.

:mod:`.composition` draws the picture of a window, :class:`WebView` serves a page to browsers. The
web view needs the package ``websockets``, which is imported when a view is opened.
"""

from .server import WebStream, WebView

__all__ = ["WebStream", "WebView"]
