"""`holdfast guard review`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--state", type=click.Path(path_type=Path), help="The guard's folder.  [default: ~/.holdfast/guard]")
@click.option("--port", default=8420, show_default=True, help="Port on the loopback address.")
@click.option("--site", help="The page's origin if it is behind a proxy, such as https://review.firm.example.")
def command(state: Path | None, port: int, site: str | None) -> None:
    """Serve the web page on which persons approve acts and review concerns.

    Run it as the guard's own user: an agent that can access the guard's folder can bypass approvals. The command prints
    an admin code with which one person can enrol.
    """
    from holdfast.core.extras import needs
    from holdfast.guard.review.app import make_app, open_review_service
    from holdfast.guard.setup import open_audit_log, routing

    with needs("guard"):
        import uvicorn

    origin = (site or f"http://localhost:{port}").rstrip("/")
    folder = state or Path.home() / ".holdfast" / "guard"
    with open_audit_log(folder) as store:
        click.echo(f"review page: {origin}")
        office = open_review_service(origin, store, _show_code, routing(folder))
        uvicorn.run(make_app(office), host="127.0.0.1", port=port, log_level="warning", server_header=False)


def _show_code(code: str) -> None:
    click.echo(f"admin code for one enrolment: {code}")
