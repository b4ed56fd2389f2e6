import pytest

from medgraph.data.metapath import MetaPath, default_metapaths, parse_metapath, told_apart
from medgraph.errors import ConfigError

AUTHORS = [
    ("paper", "to", "author"), ("author", "rev_to", "paper"), ("paper", "in", "conference"),
    ("conference", "rev_in", "paper"),
]  # fmt: skip
CITED = [*AUTHORS, ("paper", "cites", "paper"), ("paper", "rev_cites", "paper")]
PAP = (("paper", "to", "author"), ("author", "rev_to", "paper"))


@pytest.mark.parametrize("text", ["pap", "paper-author-paper", PAP, [list(step) for step in PAP]])
def test_all_ways_to_write_a_path_agree(text):
    assert parse_metapath(text, AUTHORS, "paper") == MetaPath("pap", PAP)


def test_a_long_path_knows_its_node_types():
    path = parse_metapath("apcpa", AUTHORS, "author")
    assert path.node_types == ("author", "paper", "conference", "paper", "author")


def test_defaults_are_the_published_paths():
    terms = [*AUTHORS, ("paper", "to", "term"), ("term", "rev_to", "paper")]
    assert [path.name for path in default_metapaths(terms, "author")] == ["apa", "apcpa", "aptpa"]
    assert [path.name for path in default_metapaths(AUTHORS, "paper")] == ["pap", "pcp"]


def test_relations_that_need_a_choice_are_no_defaults():
    double = [*AUTHORS, ("paper", "edited_by", "author")]
    assert [path.name for path in default_metapaths(double, "paper")] == ["pcp"]


def test_types_with_the_same_letter_get_full_names():
    known = [
        ("movie", "to", "actor"),
        ("actor", "rev_to", "movie"),
        ("movie", "to", "award"),
        ("award", "rev", "movie"),
    ]
    assert parse_metapath("movie-actor-movie", known, "movie").name == "movie-actor-movie"
    with pytest.raises(ConfigError, match=r"meta-path 'mam': 'a' stands for actor and award. Write full names"):
        parse_metapath("mam", known, "movie")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pax", "'pax': no node type starts with 'x'. Node types: author, conference, paper"),
        ("paper-auther-paper", "no node type is called 'auther'; did you mean 'author'?"),
        ("paper-zzz-paper", "no node type is called 'zzz'. Node types: author, conference, paper"),
        ("pacp", "'pacp': does not chain, no relation leads from 'author' to 'conference'. From 'author' lead: "),
        ("pa", "'pa': ends at 'author', expected the target type 'paper'"),
        ("apa", "'apa': starts at 'author', expected the target type 'paper'"),
        ("p", "'p': expected at least one step from 'paper' back to it"),
        ([["paper", "too", "author"]], "the graph has no such edge type; did you mean .'paper', 'to', 'author'."),
        ([["x", "y", "z"]], "the graph has no such edge type. Edge types: .'paper', 'to', 'author'.,"),
        ([PAP[0], PAP[0]], "does not chain, .*'author'. ends at 'author', .* does not"),
        ([["paper", "author"]], "meta-path step .*: expected .source type, relation, destination type"),
        (["pap"], "meta-path step 'pap': expected .source type"),
    ],
)
def test_wrong_paths_say_what_is_wrong(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_metapath(text, AUTHORS, "paper")


def test_two_relations_between_the_same_types_need_a_list():
    with pytest.raises(ConfigError, match=r"'pp': 2 relations lead from 'paper' to 'paper': .* as a list of"):
        parse_metapath("pp", CITED, "paper")
    steps = [("paper", "cites", "paper"), ("paper", "rev_cites", "paper")]
    assert parse_metapath(steps, CITED, "paper").edge_types == tuple(steps)


def test_paths_that_are_called_alike_are_told_apart_by_their_relations():
    edited = (("paper", "edited_by", "author"), ("author", "edits", "paper"))
    first, second, third = told_apart(
        [MetaPath("pap", PAP), MetaPath("pcp", tuple(AUTHORS[2:])), MetaPath("pap", edited)]
    )
    assert (first.name, second.name, third.name) == ("pap (to, rev_to)", "pcp", "pap (edited_by, edits)")
    assert third.edge_types == edited


def test_a_path_that_is_there_twice_is_refused():
    with pytest.raises(ConfigError, match="metapaths: 'pap' is there 2 times; name each meta-path once"):
        told_apart([MetaPath("pap", PAP), MetaPath("pap", PAP)])
