"""The dashboard: pages that a person looks at, rendered here. A page asks the engine in process, shapes what it says
for reading (a view model), and hands that to a template; an `if` about money belongs further down."""
