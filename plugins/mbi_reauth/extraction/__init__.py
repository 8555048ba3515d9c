"""Landing an integration's rows as files, whole or not at all."""
