"""A message as text, as Slack blocks, as a mail and as JSON: one structure, thin renderings."""

from __future__ import annotations

from html import escape
from typing import Any

from pipelines.notify.message import Message

_SAME, _TODO = "As before", "To do"
_MARKS = {"good": ":white_check_mark:", "look": ":eyes:", "bad": ":red_circle:"}
_COLOURS = {"good": "#1a7f37", "look": "#9a6700", "bad": "#cf222e"}
# Slack refuses longer ones (Block Kit reference: header 150, section 3000 characters).
_SLACK_TITLE, _SLACK_TEXT = 150, 2900


def as_text(message: Message) -> str:
    """Lines of plain text; the first one says it all."""
    lines = [message.title, *(f"  * {text}" for text in message.changed)]
    for head, texts in ((_SAME, message.same), (_TODO, message.todo)):
        if texts:
            lines += ["", f"{head}:", *(f"  * {text}" for text in texts)]
    return "\n".join([*lines, "", *(f"{link.text}: {link.url}" for link in message.links)]) + "\n"


def as_slack(message: Message) -> dict[str, Any]:
    """The body of an incoming webhook; `text` is what a notification on a phone shows."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(message.title, _SLACK_TITLE)}}
    ]
    blocks += [_section(_listed(message.changed))] if message.changed else []
    for head, texts in ((_SAME, message.same), (_TODO, message.todo)):
        blocks += [_section(f"*{head}*\n{_listed(texts)}")] if texts else []
    urls = "  |  ".join(f"<{_slack(link.url)}|{_slack(link.text)}>" for link in message.links)
    if urls:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": urls}]})
    return {"text": f"{_MARKS[message.mood]} {_slack(message.title)}", "blocks": blocks}


def as_html(message: Message) -> str:
    """A mail's body: no pictures, no scripts, nothing that a reader must load."""
    parts = [f'<h2 style="font-size:18px;color:{_COLOURS[message.mood]}">{escape(message.title)}</h2>']
    parts.append(_html_list(message.changed))
    for head, texts in ((_SAME, message.same), (_TODO, message.todo)):
        if texts:
            parts.append(f'<h3 style="font-size:15px">{head}</h3>{_html_list(texts)}')
    links = " &middot; ".join(f'<a href="{escape(link.url)}">{escape(link.text)}</a>' for link in message.links)
    body = "".join(parts) + f"<p>{links}</p>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(message.title)}</title></head>'
        f'<body style="font:15px/1.5 system-ui,sans-serif;max-width:44em">{body}</body></html>'
    )


def as_json(message: Message) -> dict[str, Any]:
    """What any other webhook gets; `id` is the same when a message comes twice."""
    return {
        "id": message.id,
        "kind": message.kind,
        "mood": message.mood,
        "pipeline": message.pipeline,
        "partition": message.partition,
        "title": message.title,
        "changed": list(message.changed),
        "same": list(message.same),
        "todo": list(message.todo),
        "links": [{"text": link.text, "url": link.url} for link in message.links],
        "text": as_text(message),
    }


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text, _SLACK_TEXT)}}


def _listed(texts: tuple[str, ...]) -> str:
    return "\n".join(f"• {_slack(text)}" for text in texts)


def _slack(text: str) -> str:
    """Slack's three special characters; a text cannot become a link or a mention (`<!channel>`)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _html_list(texts: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>" if texts else ""
