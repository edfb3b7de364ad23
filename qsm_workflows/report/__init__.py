"""Tables, figures and the HTML page, made from derivatives only."""
