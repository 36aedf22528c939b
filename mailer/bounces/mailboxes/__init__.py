"""Where reports arrive by mail: a Maildir, a folder of an IMAP server, or one message on standard input."""
