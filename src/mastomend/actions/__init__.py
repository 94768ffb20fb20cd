"""The only way anything outside the state directory changes: actions, journaled before they are run."""
