"""Model names that would do harm if they were put into shell, YAML, Lua, CEL, PromQL or a template unescaped."""

HOSTILE = (
    'a"; rm -rf ~ #',
    "$(reboot)",
    "`reboot`",
    "{{ .Values.x }}",
    "{{ fail }}",
    "]]..os.exit()..[[",
    "' || true || '",
    "\\",
    "'",
    "-rf",
    "%2e%2e",
    "a b",
    "a: b",
    "a\nb: c",
    "*",
    "x" * 300,
    "Ünïcödé",
)
NAMES = tuple(name for name in HOSTILE if "\n" not in name)  # which folders of a model repository can have
