"""The database port, SQLite and PostgreSQL behind it, the runtime's own tables and their migrations."""
