"""``python -m service.runtime``: started by the service, which tells it the store by a pipe."""

from __future__ import annotations

from service.runtime.process import main

if __name__ == "__main__":
    main()
