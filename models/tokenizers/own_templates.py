"""The chat templates of this project: of tokenizers fitted here, now and before, and of base models that bring none."""

from models.tokenizers.special import EARLIER_ASSISTANT, EARLIER_END, EARLIER_USER, END, TURN

# ChatML: every turn begins with its role, in plain letters; tools stand at the end of the system's, calls are JSON (Hermes).
_OFFERED = "<tools>{{ '\\n' }}{% for tool in tools %}{{ tool | tojson }}{{ '\\n' }}{% endfor %}</tools>"
_CALL = "<tool_call>\n{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}\n</tool_call>"
TEMPLATE = (
    "{% for message in messages %}"
    "{% set offering = tools and loop.first %}"
    f"{{% if offering and message.role != 'system' %}}{TURN}system\n{_OFFERED}{END}\n{{% endif %}}"
    f"{TURN}{{{{ message.role }}}}\n{{{{ message.content }}}}"
    f"{{% if offering and message.role == 'system' %}}{{{{ '\\n\\n' }}}}{_OFFERED}{{% endif %}}"
    "{% for call in message.tool_calls or [] %}"
    f"{{% if message.content or not loop.first %}}{{{{ '\\n' }}}}{{% endif %}}{_CALL}"
    "{% endfor %}"
    f"{END}\n{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{TURN}assistant\n{{% endif %}}"
)
# Of tokenizers that were fitted here before: a system message is spoken as a user's turn.
EARLIER_TEMPLATE = (
    "{% for message in messages %}"
    f"{{% if message.role == 'assistant' %}}{EARLIER_ASSISTANT}{{% else %}}{EARLIER_USER}{{% endif %}}"
    f"{{{{ message.content }}}}{EARLIER_END}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{EARLIER_ASSISTANT}{{% endif %}}"
)
# Plain words around the end token that the model knows.
ADOPTED_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}Answer: {{ message.content }}{{ eos_token }}\n"
    "{% else %}Question: {{ message.content }}\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}Answer: {% endif %}"
)
