"""How mails that come back are written: a module for each form, and the parts that all of them are made of."""
