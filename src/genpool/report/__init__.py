"""The report: what it states (`facts`), in words (`findings`), in pictures (`charts`), as a page (`page`)."""
