"""``python -m selfextend_viz``: the command line without its script."""

from selfextend_viz.cli import app

if __name__ == "__main__":
    app(prog_name="selfextend-viz")
