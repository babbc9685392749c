"""The JSON Schema of exports, for the programs that read them."""

import json

from domain.export import EngagementExport


def export_schema() -> str:
    """The schema as JSON text, the same on every machine."""
    schema = EngagementExport.model_json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
