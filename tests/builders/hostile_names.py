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
