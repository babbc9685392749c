"""Truora: WhatsApp conversations whose flows the provider runs itself, opened by an approved outbound message."""
