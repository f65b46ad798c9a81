"""What every page is made of: files of measurements read by a schema, tables, Markdown, figures."""
