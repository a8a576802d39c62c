"""What a chat template is turned into before it is compiled: a tree with meters at its loops and marks in its texts."""

import re
from collections.abc import Mapping

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer


class Rewriter(NodeTransformer):
    """Puts the meter where jinja2 has no hook (loops, `~`, lists), and marks where texts are written."""

    def __init__(self, marks: Mapping[str, str]) -> None:
        self._marks = marks
        longest_first = sorted(marks, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"\Z.")  # else nothing

    def _mark(self, text: str) -> str:
        return self._control.sub(lambda found: self._marks[found[0]], text)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = _filter("<each>", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter("<concat>", nodes.List(node.nodes, lineno=node.lineno))

    def visit_List(self, node: nodes.Literal) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter("<measured>", node)

    visit_Dict = visit_List  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter("<measured>", node) if node.ctx == "load" else node

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802
        node.data = self._mark(node.data)
        return node

    def visit_Const(self, node: nodes.Const) -> nodes.Node:  # noqa: N802
        if isinstance(node.value, str):
            node.value = self._mark(node.value)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        return Rewriter({}).generic_visit(node)  # what is compared with a message is not written: no marks

    visit_Test = visit_Compare  # noqa: N815

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        node.node, node.arg = self.visit(node.node), Rewriter({}).visit(node.arg)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        if isinstance(node.node, nodes.Getattr):  # message.content.split('<|x|>') looks for the text itself
            node.args = [Rewriter({}).visit(argument) for argument in node.args]
            node.node = self.visit(node.node)
            return node
        return self.generic_visit(node)


def _filter(name: str, node: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks answers for training; here it only groups."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        lineno = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=lineno)
