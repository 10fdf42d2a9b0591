"""The words that the grammar of statements knows, by their function."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The set of words in a line."""
    return frozenset(text.split())


NOT = words("not never isn't isn’t aren't aren’t wasn't wasn’t cannot can't can’t neither nor unlike except")
"""Words that deny the text after them."""
SO = words("so thus hence therefore giving making totaling totalling yielding consequently altogether")
"""Words that introduce a conclusion."""
BECAUSE = words(
    "because since as given if when where while due though although whereas unless considering assuming according provided whenever until"
)
"""Words that begin a reason or a condition."""
EQUALS = words("is equals equal makes gives was are becomes yields means")
"""Verbs that mean "="."""
BOUND_BEFORE = words(
    "least most over under above below between beyond than exceeding exceeds exceed within up past from twice double triple thrice quadruple "
    "half third quarter not no minus plus without underneath squared sqrt root log ln sin cos tan ceil floor max min gcd lcm mod modulo "
    "approaching until till every rather except besides plus-minus outside times non maybe perhaps possibly either neither"
)
"""Words before a number that change it, make it a bound or no number."""
STOP_ANYWHERE = words("out versus vs or-more choose modulo remainder")
"""Words with which a side gives no single number."""
AFTER_OR = words("more less fewer greater higher lower above below older younger longer over under better up beyond")
""""18 or more"."""
MODIFIERS = words(
    "in for at after by per within on during over each every from with before until against to across among between under above below around "
    "than through throughout into left who that of about"
)
"""Words that begin a modifier after a number; numbers in the modifier are not the answer."""
FILLERS = words(
    "approximately approx about around roughly exactly simply just only therefore thus then hence precisely equal equals to also still now "
    "actually indeed clearly obviously nearly almost a an the of total number value sum is be rs usd inr us answer final result as follows all "
    "amount would being definitely certainly probably likely closest ca circa some whole integer eur gbp cad aud positive whopping mere full "
    "estimated correct exact so loss profit gain average"
)
"""Words that may come between "the answer is" and its number."""
REMARKS = words(
    "reasonable valid consistent independent clear plausible sensible verified confirmed helpful obvious right wrong incorrect justified "
    "checked complete below above shown unclear unknown based derived obtained different similar supported easy hard simple interesting useful "
    "dependent known unchanged same what how why where because provided written stated found given already rounded indicated in on out up by "
    "after before simplified calculated computed determined important good fine ok okay too very quite well true false accurate logical sound "
    "realistic less greater more smaller larger bigger between within under over at not an divisible even odd near close lower higher final "
    "your yours here there as for from with"
)
"""Words that begin a remark about the answer, if no number follows directly."""
SUBJECTS = words("that there he she it they we you i this these the his her their its each all every")
"""Words that begin a subordinate sentence: "that she has 18 eggs"."""
VERBS = words(
    "is are was were be has have had will can could would should must may pays paid pay makes made make earn cost get got need spend spent take "
    "took sell sold buy bought eat ate left leave remain read give gave receive save use won lost ran run drove drive walk owe keep kept found "
    "did do"
)
ATTACHED = words("st nd rd th pm am mph kph kmph kmh pts pcs usd eur gbp inr cal kcal gb mb kb tb")
"""Short words, besides units, that may follow a number without a space."""
CHANGING = words(
    "squared cubed factorial pi halves thirds fourths fifths sixths sevenths eighths ninths tenths hundredths thousandths millionths hundreds "
    "tens third fifth sixth tenth hundredth thousandth percentile π root choose mod modulo base score gross quintillion quadrillion googol half "
    "halved doubled tripled grand"
)
"""Words directly after a number that change it."""
MILD = words("really in fact at all actually just simply")
"""Words between "not" and "true" that change nothing."""
AFTER_NO = words(
    "because since as for but and it he she they this that these those there in if unless due when while so although though we you i the a an "
    "or is was not instead rather today now "
    "to at on by with his her their its my our your who which under based given according generally usually typically probably"
)
"""Words that may follow the answer "no". Before any other word, "no" belongs to that word: "no doubt", "no bird"."""
