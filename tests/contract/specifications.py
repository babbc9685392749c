"""Template specifications that nothing is wrong with, for the contract tests of submissions."""

from domain.templates import ButtonType, FlowAction, TemplateButton, TemplateCategory, TemplateSpecification

FLOW = "900000000000001"
SCREEN = "WELCOME_SCREEN"

FORM = TemplateSpecification(
    name="shift_form",
    language="en_US",
    provider="meta",
    category=TemplateCategory.UTILITY,
    header="Your shifts",
    body="Hi {{first_name}}, please tell {{company}} when you can work.",
    footer="Reply STOP to opt out",
    examples={"first_name": "Ada", "company": "Acme"},
    buttons=(
        TemplateButton(
            type=ButtonType.FLOW,
            text="Open form",
            flow_id=FLOW,
            flow_action=FlowAction.NAVIGATE,
            navigate_screen=SCREEN,
        ),
        TemplateButton(type=ButtonType.QUICK_REPLY, text="Not now"),
    ),
)

INVITATION = TemplateSpecification(
    name="shift_invitation",
    language="en",
    provider="recrubo",
    category=TemplateCategory.UTILITY,
    header="Your application",
    body="Hi {{1}}, would you like to work as {{2}}?",
    footer="Reply STOP to opt out",
    examples={"1": "Ada", "2": "welder"},
)
