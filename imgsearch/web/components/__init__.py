"""The building blocks of the tabs: each module draws some Gradio components and connects their events.

What is created is drawn in the current layout.
"""
