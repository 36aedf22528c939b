"""The mailbox for programs, in the words of Mailpit's API."""
