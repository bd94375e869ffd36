"""Where the bot keeps its positions."""
