"""The parts that tabs are made of: each draws its Gradio components and says how they change."""
