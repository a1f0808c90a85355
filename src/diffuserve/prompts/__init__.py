"""Text in, text out: what is done to a prompt before it is drawn.

`styles.py` and `lora_tags.py` are pure and used by `jobs.resolve`; `language.py` says what a model cannot read.
`help.py` (`ports.PromptHelp`) has prompts translated (`pieces.py`: around their syntax) and enhanced by whoever the settings
name: `chat.py` asks a chat endpoint, `engine.writer` models of our own. `words.py` is what they are told and what is made
of their answers, `kept.py` remembers those.
"""
