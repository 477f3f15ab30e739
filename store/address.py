"""Where the database is: a URL of SQLite or of PostgreSQL. What is said of it never holds its password."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from store.errors import DatabaseUnsuitable

SETTING = "TALLYSTICK_DATABASE_URL"
_EXAMPLES = "sqlite:///path/to/file or postgresql://user:password@host:5432/database"
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def parse_url(text: str) -> URL:
    """The address of a database, with the driver that is used here. Raises DatabaseUnsuitable."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise DatabaseUnsuitable(
            f"{SETTING} is no address of a database: write {_EXAMPLES}; each of / : @ % # ? in a name or a password is "
            "percent-encoded (@ is %40)"
        ) from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise DatabaseUnsuitable(f"{SETTING} begins with {url.drivername}://, which is not known: write {_EXAMPLES}")
    return url.set(drivername=driver)


def shown(url: URL) -> str:
    """How a database is named to people: the file of SQLite; host, port and name on PostgreSQL."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    host = url.query.get("host", url.host) or ""
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{host if isinstance(host, str) else ','.join(host)}{port}/{url.database or ''}"
