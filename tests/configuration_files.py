"""Configuration files, and what Orthanc 1.10.1 makes of them: the doctor must read them alike.

`tests/unit` holds the doctor to it, `tests/server` the real Orthanc.
"""

ENVIRONMENT = {"SET": "here", "EMPTY": "", "NESTED": "${SET}"}

VALUES: dict[str, tuple[str, object]] = {
    # what is written as the value of a key -> what is read
    "a text": ('"text"', "text"),
    "slashes in a text": ('"http://a/*b*/ //c"', "http://a/*b*/ //c"),
    "a quote in a text": (r'"\" /* \\"', '" /* \\'),
    "a line break in a text": ('"a\nb\tc"', "a\nb\tc"),
    "a comment of a line": ("1 // 2\n", 1),
    "a comment of several lines": ("/* 1\n * 2 **/ 3", 3),
    "a comment in a comment": ("/* // */ 1 // /*\n", 1),
    "a comma at the end of an array": ("[1, 2, ]", [1, 2]),
    "a comma at the end of an object": ('{"a": 1, /* } */ // ]\n }', {"a": 1}),
    "a key that stands twice": ('{"a": 1, "a": 2}', {"a": 2}),
    "a variable": ('"${SET}"', "here"),
    "a variable that isn't set": ('"a${UNSET}b"', "ab"),
    "a variable with a default": ('"${UNSET:-none}"', "none"),
    "a variable with a default that isn't needed": ('"${SET:-none}"', "here"),
    "an empty variable": ('"${EMPTY:-none}"', ""),
    "an empty default": ('"${UNSET:-}"', ""),
    "a variable in a default": ('"${UNSET:-${SET}}"', "${SET}"),
    "a variable in a variable": ('"${NESTED}"', "${SET}"),
    "two variables": ('"${SET}-${SET}"', "here-here"),
    "a colon that says nothing": ('"${SET:x}"', "${SET:x}"),
    "a number from a variable": ("${UNSET:-60}", 60),
}

FILES: dict[str, tuple[dict[str, bytes], object]] = {
    # the files of a folder besides Orthanc's own -> the value of "Key" in all of them
    "a byte order mark": ({"b.json": b'\xef\xbb\xbf{"Key": 1}'}, 1),
    "something after the end": ({"b.json": b'{"Key": 1} } garbage'}, 1),
    "another case": ({"b.JSON": b'{"Key": 1}'}, 1),
    "a hidden file": ({".b.json": b'{"Key": 1}'}, 1),
    "a copy": ({"b.json.bak": b'{"Key": 1'}, None),
    "a subfolder": ({"b/c.json": b'{"Key": 1'}, None),
}

REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    # the files of a folder besides Orthanc's own -> where the doctor sees the fault
    "a missing comma": ({"b.json": b'{\n  "A": 1\n  "B": 2\n}'}, "b.json:3:3"),
    "a missing brace": ({"b.json": b'{\n  "A": 1\n'}, "b.json:3:1"),
    "single quotes": ({"b.json": b"{\"A\": 'b'}"}, "b.json:1:7"),
    "a bare key": ({"b.json": b"// why\n{ A: 1}"}, "b.json:2:3"),
    "two commas": ({"b.json": b'{"A": [1,, 2]}'}, "b.json:1:10"),
    "NaN": ({"b.json": b'{"A": NaN}'}, "b.json"),
    "a hash as a comment": ({"b.json": b'{\n# no\n"A": 1}'}, "b.json:2:1"),
    "a wrong escape": ({"b.json": b'{"A": "\\q"}'}, "b.json:1:8"),
    "an array": ({"b.json": b"[1]"}, "b.json"),
    "an empty file": ({"b.json": b""}, "b.json:1:1"),
    "a section in two files": ({"b.json": b'{"A": {}}', "c.json": b'{"A": {}}'}, "c.json"),
}
