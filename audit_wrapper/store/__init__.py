"""The database: schema, delivery, reads. Knows no proxy."""
