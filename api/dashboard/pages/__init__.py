"""One module a page: question, view model, template."""
