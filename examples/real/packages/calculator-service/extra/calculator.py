#!/opt/mesosphere/bin/python3
"""Answers sums that are asked by HTTP: GET /2*(3%2B4) gives 14.

Usage:
  calculator [--address=ADDRESS] [--port=PORT]
  calculator --self-test

Options:
  --address=ADDRESS  where it listens [default: 127.0.0.1]
  --port=PORT        and on which port [default: 8110]
  --self-test        serves on a free port, asks itself once, and checks the answer
"""

import http.server
import threading
import urllib.parse
import urllib.request

import docopt
from ply import lex, yacc

tokens = ("NUMBER",)
literals = "+-*()"
precedence = (("left", "+", "-"), ("left", "*"))
t_ignore = " "


def t_NUMBER(token):
    r"[0-9]+"
    token.value = int(token.value)
    return token


def t_error(token):
    raise ValueError(f"not understood: {token.value[0]}")


def p_two(production):
    """expression : expression '+' expression
                  | expression '-' expression
                  | expression '*' expression"""
    _, left, sign, right = production
    production[0] = {"+": left + right, "-": left - right, "*": left * right}[sign]


def p_group(production):
    "expression : '(' expression ')'"
    production[0] = production[2]


def p_number(production):
    "expression : NUMBER"
    production[0] = production[1]


def p_error(token):
    raise ValueError(f"not expected: {token.value if token else 'the end'}")


def answer(question):
    lexer = lex.lex()
    # No tables on disk: the service's folder is not a cache.
    return yacc.yacc(write_tables=False, debug=False).parse(question, lexer=lexer)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, text = 200, str(answer(urllib.parse.unquote(self.path[1:])))
        except ValueError as error:
            status, text = 400, str(error)
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def self_test():
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        question = urllib.parse.quote("2*(3+4)-1")
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{question}") as reply:
            text = reply.read().decode()
        server.shutdown()
    assert text == "13\n", text
    print("self-test passed")


def main():
    arguments = docopt.docopt(__doc__)
    if arguments["--self-test"]:
        self_test()
    else:
        address = (arguments["--address"], int(arguments["--port"]))
        http.server.ThreadingHTTPServer(address, Handler).serve_forever()


if __name__ == "__main__":
    main()
