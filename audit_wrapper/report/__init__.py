"""A page a person wants to look at: what the bot traded, what it cost, and what is still a question.

Needs jinja2 and plotly (extra `report`); nothing else of the package imports this folder's modules at the top.
"""
