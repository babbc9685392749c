"""Meta's WhatsApp Cloud API: template messages whose button opens a WhatsApp Flow, a form inside the chat."""
