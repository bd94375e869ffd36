"""The trading core of the bot."""
