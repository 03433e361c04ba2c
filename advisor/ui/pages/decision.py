"""Decision path: the tree with the path that the scenario took, the same as text, and what would change it."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.text import name_in, texts
from advisor.decision.explain import field_name, sentence, value_text
from advisor.report.tree_figure import tree_figure
from advisor.ui import answers, backend, state
from advisor.ui.plans_view import scenario_chips
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import key_values, page_header, tree_chart

page_header("decision")
answer = answers.recommendation(state.token())
scenario_chips(answer.scenario)

with st.container(border=True):
    st.markdown(f"#### :material/flag: {plain(answer.leaf.name.get(language()))}")
    st.markdown(plain(answer.leaf.reason.get(language())))
    separator = t("decision.separator")
    key_values(
        {
            t("decision.families"): separator.join(name_in(language(), name) for name in answer.leaf.families),
            t("decision.formats"): separator.join(
                texts(language()).get(f"ui.format_family.{name}", name) for name in answer.leaf.formats
            ),
            t("decision.weights"): separator.join(
                f"{t(f'axis.{axis}')} {100 * weight:.0f} %" for axis, weight in answer.leaf.weights.items()
            ),
        },
        alt=t("decision.leaf_alt"),
    )

st.header(t("decision.tree"), anchor=False)
figure = tree_figure(backend.tree(), answer, language())
event = tree_chart(figure, key="decision.tree")
picked = [index for group in event.selection.selected for index in group["data_indices"]]
if picked and picked[0] < len(figure.nodes):
    node = figure.nodes[picked[0]]
    st.markdown(f"**{plain(node.label)}**")
    leaf = backend.tree().leaves.get(node.id.partition("@")[0])
    if leaf is not None:
        st.markdown(plain(leaf.reason.get(language())))

st.header(t("decision.steps"), anchor=False)
for number, step in enumerate(answer.path, start=1):
    with st.container(border=True):
        st.markdown(f"**{number}. {plain(step.question.get(language()))}** → {plain(step.branch.get(language()))}")
        facts = [f"{field_name(language(), f)}: {value_text(language(), v)}" for f, v in step.decided_by.items()]
        st.caption(plain(separator.join(dict.fromkeys(facts))))
        for change in step.counterfactuals:
            st.caption(f":material/alt_route: {plain(sentence(language(), change))}")
