"""What can be asked of tunewatch, and what is answered: version 1, without HTTP.

Questions and answers are types; the HTTP API, its document and the command line are
made from them. Knows the store, and no request, header or status code.
"""
