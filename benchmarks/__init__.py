"""What the audit costs, measured beside what people would write instead. See README.md in this folder."""
