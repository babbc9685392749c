"""A strict Truora (Customer Engagement, WhatsApp): outbounds, conversations and signed hooks, as its pages show it."""
