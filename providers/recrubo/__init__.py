"""Recrubo: WhatsApp conversations whose flows the provider runs itself."""
