"""Alerts on the terminal: what fails, and the deliveries to each address."""

from typing import Any

from rich.console import Console


def format_answer(answer: dict[str, Any]) -> str:
    """An answer in words: ``acknowledged by root@host 2026-06-03T14:00:00Z: with the vendor``."""
    until = f" until {answer['until']}" if answer["until"] else ""
    note = f": {answer['note']}" if answer["note"] else ""
    return f"{answer['kind']}{until} by {answer['by']} {answer['at']}{note}"


def show_alerts(console: Console, alerts: dict[str, Any]) -> None:
    """Print what is failing and the deliveries to each address, one line an item."""
    for state in alerts["failing"]:
        console.print(f"[red]FAIL[/red]  {state['name']} since {state['since']}: {state['meaning']}", highlight=False)
        if "answer" in state:
            console.print(f"      {format_answer(state['answer'])}", highlight=False, markup=False)
    not_judged = alerts.get("not_judged", ())
    for state in not_judged:
        console.print(f"n/a   {state['name']}: {state['meaning']}", highlight=False, markup=False)
    if not alerts["failing"]:
        console.print("no observed check fails" if not_judged else "all observed checks pass")
    for address in alerts["addresses"]:
        last = f"last {address['delivered']}" if address["delivered"] else "nothing sent yet"
        error_text = f" · {address['error']}" if address["error"] else ""
        error_text += f", next attempt {address['next_attempt']}" if address["failures"] else ""
        service = address["scheme"] + (
            f", owner of {', '.join(address['universes'])}" if "universes" in address else ""
        )
        console.print(
            f"address {address['number']} ({service}): {address['waiting']} waiting · {last}{error_text}",
            highlight=False,
        )
    if not alerts["addresses"]:
        console.print("no alert destinations: BACKFILL_ALERT_URLS is not set")
