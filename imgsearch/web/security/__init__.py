"""What keeps strangers within bounds: which requests are let in, how often, how large, and how pictures are decoded.

Imported by the server alone; decode workers import it too, so nothing here may import Gradio at the top.
"""
