"""websockets, a client of the JSON gateway as browsers are."""
